"""Laws of what a policy sees of Meta-World in images."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from policytrim_gym.envs import metaworld_observer
from policytrim_gym.envs.metaworld import MetaWorldEnv
from policytrim_gym.envs.metaworld_observer import CAMERAS, GOAL_COLOUR, MetaWorldObserver, _goal_markers, _View, _ViewCache
from policytrim_gym.envs.mujoco_renderer import MujocoRenderer
from policytrim_gym.errors import InvalidSpec, MissingExtra
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk

pytest.importorskip("metaworld")

ID = "policytrim_gym:PolicyTrim/MetaWorld-v0"
SHOWN_TASKS = ("door-open-v3", "drawer-close-v3", "drawer-open-v3", "reach-v3", "push-v3", "pick-place-v3", "window-close-v3")


@pytest.fixture(autouse=True, scope="module")
def needs_opengl() -> None:
    try:
        pixels("reach-v3").reset(seed=0)
    except MissingExtra as error:
        pytest.skip(str(error))


def pixels(*tasks: str, **more: Any) -> MetaWorldEnv:
    return MetaWorldEnv(tasks, observation="pixels", **more)


def where(initial_state: int = 0, task: str = "push-v3") -> dict[str, Any]:
    return {"options": {"task": task, "split": "train", "initial_state": initial_state}}


def random_actions(num_steps: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-1, 1, (num_steps, 4))


def magenta(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns which pixels show the goal's marker, (height, width)."""
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return (red > 150) & (blue > 150) & (green < 60)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the camera of each image that is drawn."""
    cameras: list[str] = []
    draw = _View.draw

    def counted(view: _View, simulation: Any, camera: str) -> NDArray[np.uint8]:
        cameras.append(camera)
        return draw(view, simulation, camera)

    monkeypatch.setattr(_View, "draw", counted)
    return cameras


def test_pixels_pass_gymnasiums_and_sb3s_check() -> None:
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gym.make(ID, tasks=("reach-v3", "push-v3"), observation="pixels", cameras=CAMERAS).unwrapped, skip_render_check=True)
    unexpected = [str(warning.message) for warning in caught if "infinity" not in str(warning.message)]  # a state has no known bounds
    assert not [message for message in unexpected if "WARN" in message], unexpected
    sb3.check_env(pixels("reach-v3", "push-v3"))


def test_the_state_beside_pixels_is_what_the_robot_measures() -> None:
    env = pixels("push-v3", image_size=32)
    observations = [env.reset(**where(3))[0], *(env.step(action)[0] for action in random_actions(5))]
    for observation in observations:
        assert env.observation_space.contains(observation)
        assert observation["image_front"].shape == (32, 32, 3) and observation["state"].shape == (4,)
    hand = env.simulation.get_endeff_pos()
    fingers = [env.simulation.data.body(name).xpos for name in ("rightclaw", "leftclaw")]
    opening = min(np.linalg.norm(fingers[0] - fingers[1]) / 0.1, 1.0)
    np.testing.assert_allclose(observations[-1]["state"], [*hand, opening], atol=1e-6)
    other, _ = env.reset(**where(4))
    first, _ = env.reset(**where(3))
    np.testing.assert_array_equal(first["state"], other["state"])  # object and goal stand elsewhere, and are in the image alone
    assert (first["image_front"] != other["image_front"]).any()


@pytest.mark.parametrize("task", ["push-v3", "window-close-v3", "peg-insert-side-v3"])
def test_physics_is_the_same_with_pixels_as_with_state(task: str) -> None:
    runs = []
    for env in (pixels(task, cameras=CAMERAS), MetaWorldEnv(task)):
        env.reset(**where(2, task))
        states, rewards = [env.full_state], []
        for action in random_actions(20):
            rewards.append(env.step(action)[1])
            states.append(env.full_state)
        runs.append((np.array(states), np.array(rewards), env.simulation.data.qpos.copy(), env.simulation.data.qvel.copy()))
    for with_pixels, with_state in zip(*runs):
        np.testing.assert_array_equal(with_pixels, with_state)


def test_the_expert_acts_on_pixels_as_on_the_state() -> None:
    actions = []
    for env in (pixels("push-v3"), MetaWorldEnv("push-v3")):
        observation, _ = env.reset(**where(1))
        env.look, expert = False, env.make_expert("slow-uneven", seed=4)
        actions.append([])
        for _ in range(25):
            actions[-1].append(expert.action(observation))
            observation = env.step(actions[-1][-1])[0]
    np.testing.assert_array_equal(*actions)


def test_the_same_reset_gives_the_same_images_whatever_was_drawn_before() -> None:
    def images(env: MetaWorldEnv) -> list[NDArray[np.uint8]]:
        observations = [env.reset(**where(5))[0], *(env.step(action)[0] for action in random_actions(3))]
        return [observation[f"image_{camera}"] for observation in observations for camera in CAMERAS]

    env = pixels("push-v3", "reach-v3", "door-open-v3", cameras=CAMERAS)
    first = images(env)
    for task in ("door-open-v3", "reach-v3", "push-v3"):
        env.reset(**where(1, task))
        for action in random_actions(5):
            env.step(-action)
    env.render_frame(160, 120)
    pixels("push-v3", image_size=48).reset(**where(8))
    beside = pixels("push-v3", cameras=("wrist", "front"))  # the same view draws another simulation
    beside.reset(**where(9))
    for again in (images(env), images(beside)):
        np.testing.assert_array_equal(again, first)


def test_the_first_image_shows_the_window_where_it_is() -> None:
    """Meta-World moves the window's joint last of all in a reset and leaves all that follows from it as it was."""
    import mujoco

    env = pixels("window-close-v3")
    observation, _ = env.reset(**where(0, "window-close-v3"))
    simulation, forward = env.simulation, mujoco.MjData(env.simulation.model)
    for name in ("qpos", "mocap_pos", "mocap_quat"):
        getattr(forward, name)[:] = getattr(simulation.data, name)
    mujoco.mj_forward(simulation.model, forward)
    assert np.abs(forward.geom_xpos - simulation.data.geom_xpos).max() > 0.1
    view = metaworld_observer._VIEWS.view("window-close-v3", simulation.model, 64)
    markers = _goal_markers(simulation._target_pos)
    expected = view._renderer.draw(forward, view._cameras["front"], markers, show_sites=False)
    np.testing.assert_array_equal(observation["image_front"], expected)


@pytest.mark.parametrize("task", SHOWN_TASKS)
def test_a_policy_can_see_the_goal(task: str) -> None:
    env = pixels(task)
    for index in range(4):
        image = env.reset(**where(index, task))[0]["image_front"]
        assert magenta(image).sum() >= 4, index
    assert not magenta(env.render_frame(64, 64)).any()  # so it is the marker that was seen


def test_the_marker_is_where_the_goal_is() -> None:
    """The ball's topmost pixel and the pin's lowest are where a pinhole camera puts the goal and the table below it."""
    env, half_field = pixels("reach-v3", image_size=128), np.tan(np.deg2rad(45.0 / 2))
    azimuth, elevation = np.deg2rad([140.0, -40.0])
    ahead = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(ahead, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    for index in range(5):
        image = env.reset(**where(index, "reach-v3"))[0]["image_front"]
        goal = env.full_state[-3:]
        rows, columns = np.nonzero(magenta(image))
        for point, row in ((goal + 0.03 * up, rows.min()), (goal * (1, 1, 0), rows.max())):
            ray = point - (np.array([0.05, 0.60, 0.15]) - 0.9 * ahead)
            x, y = (64 * (1 + ray @ axis / (ray @ ahead) / half_field) for axis in (right, -up))
            assert abs(row + 0.5 - y) < 2.5 and columns.min() - 2 < x < columns.max() + 2, (index, row, y)


def test_what_is_left_out_of_a_drawing_would_not_be_seen() -> None:
    """Also in a wide image, by a camera that turns with the hand, and for a geom that is cut by the image's edge."""
    import mujoco

    env = pixels("door-open-v3")
    env.reset(**where(1, "door-open-v3"))
    num_left_out = 0
    for width, height in ((64, 64), (96, 32)):
        renderer = MujocoRenderer(env.simulation.model, width, height)
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance = (0.0, 0.6, 0.2), 0.7
        for azimuth in range(0, 360, 30):
            env.step(np.ones(4))
            camera.azimuth, camera.elevation = azimuth, azimuth / 6 - 45
            for name in (camera, "gripperPOV"):
                image = renderer.draw(env.simulation.data, name)
                whole = renderer._renderer
                num_left_out += sum(geom.type == mujoco.mjtGeom.mjGEOM_NONE for geom in whole.scene.geoms[: whole.scene.ngeom])
                whole.update_scene(env.simulation.data, name)
                np.testing.assert_array_equal(image, whole.render())
        renderer.close()
    assert num_left_out > 100


def test_a_look_draws_each_camera_once(drawn: list[str]) -> None:
    env = pixels("reach-v3", cameras=("wrist", "front"))
    env.reset(**where(0, "reach-v3"))
    assert drawn == ["wrist", "front"]
    observation = env.step(np.zeros(4))[0]
    assert drawn == ["wrist", "front"] * 2
    assert (observation["image_wrist"] != observation["image_front"]).any()


def test_without_a_look_nothing_is_drawn_until_the_end(drawn: list[str]) -> None:
    env = pixels("reach-v3", max_episode_steps=4)
    first, _ = env.reset(**where(0, "reach-v3"))
    env.look = False
    for _ in range(3):
        observation = env.step(np.ones(4))[0]
        np.testing.assert_array_equal(observation["image_front"], first["image_front"])
        assert (observation["state"] != first["state"]).any()
        observation["image_front"][:] = 0  # an observation is the caller's own
    assert drawn == ["front"]
    assert env.step(np.ones(4))[3] and drawn == ["front"] * 2


def test_a_success_is_drawn(drawn: list[str]) -> None:
    env = pixels("reach-v3")
    observation, _ = env.reset(**where(0, "reach-v3"))
    env.look, expert, terminated = False, env.make_expert(), False
    while not terminated:
        assert drawn == ["front"]
        observation, _, terminated, *_ = env.step(expert.action(observation))
    assert drawn == ["front"] * 2


@pytest.mark.parametrize("horizon", [1, 4, 8])
def test_a_chunk_draws_its_last_step_alone(drawn: list[str], horizon: int) -> None:
    env = ExecuteChunk(gym.make(ID, tasks="reach-v3", observation="pixels"), 8, horizon)
    env.reset(**where(0, "reach-v3"))
    for _ in range(3):
        env.step(np.zeros((8, 4), dtype=np.float32))
    assert len(drawn) == 1 + 3


def test_a_state_draws_nothing(drawn: list[str]) -> None:
    env = MetaWorldEnv("reach-v3")
    env.reset(seed=0)
    env.step(np.zeros(4))
    assert drawn == []


def test_a_cache_of_views_is_bounded_and_draws_again_what_it_let_go() -> None:
    env = pixels("reach-v3")
    env.reset(**where(0, "reach-v3"))
    cache = _ViewCache(max_views=2)
    views = [cache.view("reach-v3", env.simulation.model, size) for size in (16, 24)]
    image = views[0].draw(env.simulation, "front")
    assert cache.view("reach-v3", env.simulation.model, 16) is views[0]
    cache.view("reach-v3", env.simulation.model, 32)  # instead of 24, which was not used for longest
    assert [key[1] for key in cache._views] == [16, 32]
    with pytest.raises(RuntimeError, match="close"):
        views[1].draw(env.simulation, "front")
    cache.view("reach-v3", env.simulation.model, 24)
    np.testing.assert_array_equal(cache.view("reach-v3", env.simulation.model, 16).draw(env.simulation, "front"), image)
    for view in cache._views.values():
        view.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"observation": "pixel"}, "'state', 'pixels'.*'pixel'"),
        ({"image_size": 15}, "image_size.*16.*got 15"),
        ({"image_size": 64.0}, "image_size.*got 64.0"),
        ({"cameras": ()}, r"'front', 'wrist'.*got \(\)"),
        ({"cameras": "corner2"}, "'front', 'wrist'.*'corner2'"),
        ({"cameras": ["front", "front"]}, "each once.*got"),
        ({"cameras": None}, "got None"),
    ],
)
def test_wrong_options_are_refused_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        MetaWorldEnv(**{"observation": "pixels", **arguments})


def test_the_colour_of_the_goal_is_what_the_tests_look_for() -> None:
    assert GOAL_COLOUR == (1.0, 0.0, 1.0, 1.0)
    assert MetaWorldObserver("pixels", 16, "wrist").space["image_wrist"].shape == (16, 16, 3)


@pytest.mark.slow
def test_a_machine_without_opengl_is_told_what_to_install() -> None:
    script = """
from policytrim_gym.envs.metaworld import MetaWorldEnv
from policytrim_gym.errors import MissingExtra
env = MetaWorldEnv("reach-v3", observation="pixels")
try:
    env.reset(seed=0)
except MissingExtra as error:
    print(error)
"""
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "packages libegl1 and libgl1-mesa-dri" in done.stdout and done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr  # of what was half made


ARM = ["clone", "--env", "PolicyTrim/Arm-v0", "--env-kwargs", "task=push", "observation=pixels", "--model", "tiny-vla", "--demos", "2"]
META_WORLD = ["evaluate", "--policy", str(Path(__file__).parents[1] / "checkpoints" / "pixels-gaussian" / "base"), "--episodes", "5"]


@pytest.mark.parametrize("command", [[*META_WORLD, "--workers", "0"], [*META_WORLD, "--workers", "1"], [*ARM, "--workers", "1"]])
def test_an_unknown_graphics_library_is_refused_in_one_line(command: list[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")] if command[0] == "clone" else []
    run = subprocess.run(
        [sys.executable, "-m", "policytrim_gym", *command, *out],
        env={**os.environ, "MUJOCO_GL": "bogus"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    (line,) = [line for line in run.stderr.splitlines() if "error" in line]
    assert "MuJoCo cannot render with MUJOCO_GL=bogus" in line and "libegl1" in line and "libosmesa6" in line
    assert "Traceback" not in run.stderr
