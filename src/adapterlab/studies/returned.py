"""What a launcher returns of a job that failed, read without a line from Hydra each time."""

from typing import Any

from hydra.core.utils import JobReturn, JobStatus


class Returned(JobReturn):
    """Hydra's `JobReturn`, which writes to stderr whenever a sweeper looks at a failed job.

    That the job failed, and why, has been said once by then.
    """

    @property
    def return_value(self) -> Any:
        """What the job returned.

        Raises:
            Exception: what a failed job raised.
        """
        if self.status is JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value
