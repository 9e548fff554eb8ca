"""What every loader is told besides its own options."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapterlab.base.errors import DataError
from adapterlab.config.tasks import Task


@dataclass(frozen=True)
class LoadContext:
    """Where to look, where to write, and what the images must look like.

    Args:
        search: folders searched for local files, in order.
        download: folder that downloads go to.
        cache: folder for decoded images; what is in it may be deleted at any time.
        shape: the ``(C, H, W)`` wanted, C being 1 or 3; None takes the images as they are.
        of_model: the shape that images of several sizes are brought to where none is wanted:
            that of the model; None if it is not known.
        task: what labels are for.
        trained: by whose options data are read has been trained already.
    """

    search: tuple[Path, ...]
    download: Path
    cache: Path
    shape: tuple[int, int, int] | None = None
    of_model: tuple[int, int, int] | None = None
    task: Task = "single_label"
    trained: bool = False

    def folder(self, path: str | Path) -> Path:
        """The user's folder ``path``: absolute, or in a search folder, or in the working one.

        Raises:
            DataError: it is nowhere; the text lists the places.
        """
        return self._found(path, "folder", Path.is_dir)

    def place(self, path: str | Path) -> Path:
        """The user's file or folder ``path``, looked for as :meth:`folder` does.

        Raises:
            DataError: it is nowhere; the text lists the places.
        """
        return self._found(path, "file or folder", Path.exists)

    def _found(self, path: str | Path, what: str, there: Callable[[Path], bool]) -> Path:
        wanted = Path(path).expanduser()
        places = [folder / wanted for folder in (*self.search, Path.cwd())]
        places = [wanted] if wanted.is_absolute() else list(dict.fromkeys(places))
        for place in places:
            if there(place):
                return place
        raise DataError(f"no {what} {path}; looked at {', '.join(map(str, places))}")
