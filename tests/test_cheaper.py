"""What costs less while tests run is what it is without."""

import pytest
from hydra import compose
from hydra._internal import defaults_list
from omegaconf import OmegaConf

from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import BEFORE_1_4, composing

JOBS = (
    ["adapter=dora", "model=bert_tiny", "dataset=emotion"],
    ["experiment=glue"],
    ["experiment=imdb_distilbert/as_published", "arm=imdb_distilbert/full"],
    ["hydra/launcher=packed", "hydra/sweeper=tuned", "base=checkpoint", "base.path=there"],
)


def composed(job: list[str]) -> str:
    conf_folder.register_resolvers()
    with composing(conf_folder.CONF):
        return OmegaConf.to_yaml(compose("train", job, return_hydra_config=True))


@pytest.mark.skipif(not BEFORE_1_4, reason="Hydra makes the list of choices in another way")
@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_a_job_is_what_hydra_composes_by_itself(
    job: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, listed = composed(job), defaults_list._create_interpolation_map
    monkeypatch.setattr(defaults_list, "_create_interpolation_map", listed.__wrapped__)
    assert composed(job) == here
