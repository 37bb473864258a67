"""config.json: files that earlier versions wrote, and what a damaged one says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scorefield.base import BadInput
from scorefield.run.config import build_objective, build_schedule, network
from scorefield.run.recipes import recipes
from scorefield.run.settings import Config, changed
from scorefield.run.stored import check_folder, from_json
from scorefield.store import Folder
from scorefield.store.typed import json_schema

HERE = Path(__file__).parent


def stored(schema: int) -> dict:
    return json.loads((HERE / f"schema{schema}.json").read_text())


def test_a_run_of_the_first_schema_is_read():
    config, info = from_json(stored(1), "config.json")
    assert config.net == "auto:width=32,blocks=2,multipliers=1-2"
    assert str(network(config.net, info)) == config.net.replace("auto", "unet")
    assert (config.sample.solver, config.training.images, info.edition) == ("dpmpp2m", 200_000, 1)


def test_a_run_of_the_second_schema_is_read():
    config, info = from_json(stored(2), "config.json")
    assert config.net == "auto:width=8,blocks=1,multipliers=1"
    assert (config.sample.steps, info.sigma_data, info.shape) == (2, 0.751161, (1, 8, 8))
    assert config.training.optimizer == "adamw"  # that of all runs before there was another


def test_a_run_of_the_fifth_schema_is_read():
    config, info = from_json(stored(5), "config.json")
    assert config.objective.kind == "bridge:spread=.5,conditional=no"
    assert config.objective.times == "covering:law=(lognormal:0.5,1.8),fraction=0.35"
    assert config.data.path == "covering:share=.3"  # which is no spec
    objective = build_objective(config, info, build_schedule(config.objective, ()))
    assert (objective.conditional, objective.times.fraction) == (False, 0.35)  # type: ignore
    later = stored(5) | {"schema": 6}
    assert from_json(later, "config.json")[0].objective.times.endswith("share=0.35")


@pytest.mark.parametrize("name", ["share", "fraction"])
def test_a_run_goes_on_under_either_name_of_an_option(name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(stored(5)))
    (tmp_path / "state.json").write_text("{}")
    config, _ = from_json(stored(5), "config.json")

    def going_on(value: str) -> None:
        times = f"covering:law=(lognormal:0.5,1.8),{name}={value}"
        own = replace(config, objective=replace(config.objective, times=times))
        check_folder(Folder(tmp_path), own, resume=True)

    going_on("0.35")
    with pytest.raises(BadInput, match=f"fraction=0.35, now it is .*{name}=0.3"):
        going_on("0.3")


@pytest.mark.parametrize(
    "old, spec",
    [
        ({"name": "dit", "width": 48, "heads": 2, "norms": 1}, "dit:width=48,heads=2,depth=2"),
        ({"attention": [], "norms": 1},
         "auto:width=32,blocks=2,multipliers=1-2,attention=(),norms=1"),
        ({"name": "unet", "attention": [0, 1], "checkpoint": True, "heads": 4, "dropout": 0.15},
         "unet:width=32,blocks=2,multipliers=1-2,attention=0-1,checkpoint=yes,dropout=0.15"),
    ],
)  # fmt: skip
def test_the_network_of_earlier_schemas_is_a_spec(old, spec):
    content = stored(2)
    content["config"]["net"] = old
    assert from_json(content, "config.json")[0].net == spec


def test_all_faults_are_told_at_once():
    content = stored(2)
    content["config"]["training"] |= {"lr": "x", "precision": "fp12"}
    content["config"]["sample"]["sovler"] = "heun"
    with pytest.raises(BadInput) as error:
        from_json(content, "c.json")
    assert error.value.fact == (
        "c.json: config.training.lr is 'x', not a number; c.json: config.training.precision is "
        "'fp12', not 'fp32' or 'bf16'; c.json: config.sample has an unknown field 'sovler'."
    )
    assert error.value.remedy == "Correct it. Did you mean 'solver'? Else remove it."


def test_another_network_keeps_the_options_that_it_has():
    net = recipes["fashion-mnist"]().net
    assert changed(net, "name", "dit") == "dit:width=32,depth=2"
    assert changed(changed(net, "width", "8"), "name", "mlp") == "mlp:width=8,blocks=2"
    assert changed("dit", "blocks", "3") == "dit:depth=3"


def test_the_text_of_a_setting_wins_over_what_the_data_say():
    from scorefield.process import Cosine
    from scorefield.run.settings import DataConfig, ObjectiveConfig

    _, info = from_json(stored(2), "config.json")
    for text, sigma_data in (("edm", 0.751161), ("edm:.3", 0.3)):
        config = Config(objective=ObjectiveConfig(weight=text))
        assert build_objective(config, info, Cosine()).weight.sigma_data == sigma_data  # type: ignore
    moons = Config(data=DataConfig("moons:seed=3")).load_data()
    assert not moons.train.x.equal(Config(data=DataConfig("moons")).load_data().train.x)


def test_a_form_can_be_made_of_a_config():
    schema = json_schema(Config)
    assert schema["properties"]["net"]["type"] == "string"
    steps = schema["$defs"]["SampleConfig"]["properties"]["steps"]
    assert steps["default"] == 20
    assert schema["$defs"]["DataConfig"]["properties"]["size"]["description"].startswith("Pixels")
