"""AUTOMATIC1111's words for what this service knows by other names: sizes, samplers and schedules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deployments.schedulers import SCHEDULERS
from serve_app.catalog import Catalog
from serve_app.config import AppConfig
from serve_app.errors import InvalidRequest
from serve_app.sdapi_schemas import nearest_size, sampler_names, scheduler_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("file", "wanted", "drawn"),
    [
        ("serve_config.yaml", (512, 512), "512x512"),
        ("serve_config.yaml", (512, 768), "832x1216"),
        ("serve_config.yaml", (768, 512), "1216x832"),
        ("serve_config.yaml", (600, 800), "896x1152"),
        ("serve_config.yaml", (896, 512), "1344x768"),
        ("serve_config.yaml", (540, 960), "768x1344"),
        ("serve_config.yaml", (1024, 1024), "1024x1024"),
        ("demo.yaml", (1024, 1536), "512x768"),
        ("demo.yaml", (640, 640), "512x512"),
    ],
)
def test_the_nearest_size_has_the_shape_of_the_wanted_one(file: str, wanted: tuple[int, int], drawn: str) -> None:
    application = yaml.safe_load((ROOT / file).read_text())["applications"][0]
    entry = Catalog(AppConfig.model_validate(application["args"])).find(None)
    assert nearest_size(*wanted, entry) == drawn


def test_every_sampler_is_a_name_of_the_scheduler_table_and_every_name_has_a_sampler() -> None:
    assert set(sampler_names().values()) == set(SCHEDULERS)


@pytest.mark.parametrize(
    ("sampler", "schedule", "name"),
    [
        ("dpm++ 2m", "Karras", "dpmpp_2m_karras"),
        ("DPM++ 2M Karras", "karras", "dpmpp_2m_karras"),
        ("DPM++ 2M Karras", "Automatic", "dpmpp_2m_karras"),
        ("DPM++ 2M", None, "dpmpp_2m"),
        (None, "karras", "euler_karras"),
        (None, "automatic", None),
        ("Euler", "exponential", "euler"),
        ("DPM++ 2M", "SGM Uniform", "dpmpp_2m"),
        ("", "", None),
    ],
)
def test_a_sampler_and_its_schedule_are_one_scheduler(
    sampler: str | None, schedule: str | None, name: str | None
) -> None:
    assert scheduler_name(sampler, schedule, "euler") == name


@pytest.mark.parametrize(
    ("sampler", "schedule", "default"),
    [("UniPC", "karras", "euler"), (None, "karras", "ddim"), ("Euler", "steep", "euler"), ("Eulerish", "", "")],
)
def test_a_schedule_that_a_sampler_has_not_is_refused(sampler: str | None, schedule: str, default: str) -> None:
    with pytest.raises(InvalidRequest):
        scheduler_name(sampler, schedule, default)
