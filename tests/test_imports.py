"""What importing the package loads, and in which direction its layers import each other."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "policytrim_gym"
HEAVY = (
    "torch",
    "stable_baselines3",
    "transformers",
    "rclpy",
    "mujoco",
    "metaworld",
    "matplotlib",
    "scipy",
    "yaml",
    "pybullet",
    "pinocchio",
    "pink",
)
ROS = (
    "rclpy",
    "policytrim_ros",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "trajectory_msgs",
    "diagnostic_msgs",
    "ament_index_python",
    "launch",
)

# A layer imports layers below it; those on one line do not import each other.
LAYERS = {
    "core": 0,
    "robot": 1,
    "wrappers": 1,
    "selectors": 1,
    "envs": 2,
    "policies": 2,
    "rollouts": 3,
    "training": 4,
    "evaluation": 4,
    "serving": 4,
    "experiments": 5,
    "cli": 6,
}
SIDEWAYS = {("training", "evaluation")}  # a training keeps its best checkpoint by evaluating
# A URI is resolved at run time only; the wrapper must not need the policies to be imported.
UPWARDS = {("policytrim_gym.wrappers.control_horizon", "policytrim_gym.policies.loading")}


def heavy_modules_after(statement: str) -> list[str]:
    probe = f"import sys\n{statement}\nprint([name for name in {HEAVY} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment, check=True)
    return ast.literal_eval(done.stdout)


def test_importing_the_package_and_its_core_names_loads_nothing_heavy() -> None:
    names = "ActionChunk, ChunkPolicy, ControlHorizon, ExecuteChunk, RecordChunkStatistics, ApplyTrimReward, TrimReward, ChunkQueue"
    assert heavy_modules_after(f"from policytrim_gym import {names}, group_advantages, TemporalEnsemble") == []
    assert heavy_modules_after("import policytrim_gym, policytrim_gym.config, policytrim_gym.rewards, policytrim_gym.testing") == []


def test_the_detector_sees_a_heavy_module() -> None:
    assert heavy_modules_after("import policytrim_gym, scipy") == ["scipy"]


def test_lazy_names_are_those_that_type_checkers_read() -> None:
    import policytrim_gym

    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING")
    read = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert read == {name: f"policytrim_gym.{module}" for name, module in policytrim_gym._MODULE_OF.items()}


def test_every_public_name_resolves_to_the_object_of_its_module() -> None:
    import policytrim_gym

    for name in policytrim_gym.__all__:
        value = getattr(policytrim_gym, name)
        if name != "__version__":
            assert value.__module__ == f"policytrim_gym.{policytrim_gym._MODULE_OF[name]}"
    assert set(policytrim_gym.__all__) <= set(dir(policytrim_gym))
    with pytest.raises(AttributeError, match="no attribute 'ActionChonk'"):
        _ = policytrim_gym.ActionChonk


def test_importing_registers_the_environment() -> None:
    import gymnasium

    import policytrim_gym  # noqa: F401

    assert gymnasium.spec("PolicyTrim/MetaWorld-v0").entry_point == "policytrim_gym.envs.metaworld:MetaWorldEnv"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text())


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, functions and type checking included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}


def layer_of(module: str) -> str:
    parts = module.split(".")
    if module == "policytrim_gym.__main__":
        return "cli"
    is_folder = len(parts) > 2 or (PACKAGE / "/".join(parts[1:])).is_dir()
    return parts[1] if is_folder else "core"


def breaks_direction(importer: str, target: str) -> bool:
    source, sink = layer_of(importer), layer_of(target)
    if source == sink or (source, sink) in SIDEWAYS or (importer, target) in UPWARDS:
        return False
    return LAYERS[sink] >= LAYERS[source]


KNOWN = {name for name, _ in modules()}


def test_layers_import_downwards_only() -> None:
    wrong = [
        f"{importer} imports {target}"
        for importer, tree in modules()
        for target in imported(tree)
        if importer != "policytrim_gym" and target in KNOWN - {"policytrim_gym"} and breaks_direction(importer, target)
    ]
    assert wrong == []


def test_the_direction_check_sees_a_wrong_import() -> None:
    assert breaks_direction("policytrim_gym.chunk", "policytrim_gym.wrappers.execute_chunk")
    assert breaks_direction("policytrim_gym.envs.metaworld", "policytrim_gym.policies.state_policy")
    assert breaks_direction("policytrim_gym.evaluation.pareto", "policytrim_gym.training.clone")
    assert not breaks_direction("policytrim_gym.training.clone", "policytrim_gym.evaluation.pareto")
    assert not breaks_direction("policytrim_gym.__main__", "policytrim_gym.cli.main")


def test_every_folder_has_a_layer() -> None:
    assert {layer_of(name) for name in KNOWN if name != "policytrim_gym"} <= set(LAYERS)


def test_nothing_imports_the_packages_own_init() -> None:
    wrong = [
        f"{importer} imports {target}"
        for importer, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for target in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if target == "policytrim_gym"
    ]
    assert wrong == []


def test_nothing_imports_ros() -> None:
    wrong = [f"{importer} imports {target}" for importer, tree in modules() for target in imported(tree) if target.split(".")[0] in ROS]
    assert wrong == []


def test_module_level_imports_have_no_cycle() -> None:
    edges = {
        name: {target for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)) for target in imported(node)} & KNOWN - {name}
        for name, tree in modules()
        if name != "policytrim_gym"
    }
    edges = {name: {target for target in targets if target in edges} for name, targets in edges.items()}
    while free := [name for name, targets in edges.items() if not targets]:
        edges = {name: targets.difference(free) for name, targets in edges.items() if name not in free}
    assert edges == {}
