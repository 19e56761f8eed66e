"""Metadata of the distribution: one root that pip installs and that colcon builds as the ROS 2 package `policytrim_ros`.

It is a setup.py and not a `[project]` table because ament_python builds with a plain `setup.py`, whatever setuptools the ROS
distribution ships (59 on Humble, 68 on Jazzy). Ranges stand here, the tested pins in constraints.txt.
"""

from __future__ import annotations

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
ROS_PACKAGE = "policytrim_ros"
SHARE = f"share/{ROS_PACKAGE}"


def read_version() -> str:
    """Returns the version without importing the package, whose dependencies need not be there yet."""
    found = re.search(r'^__version__ = "([^"]+)"$', (ROOT / "policytrim_gym/version.py").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError('policytrim_gym/version.py must hold a line __version__ = "X.Y.Z"')
    return found.group(1)


def share_files() -> list[tuple[str, list[str]]]:
    """Returns what `ament` looks for under the install prefix; folders that hold nothing yet are left out."""
    folders = [
        ("share/ament_index/resource_index/packages", [f"resource/{ROS_PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"{SHARE}/config", sorted(glob("config/*.yaml") + glob("config/*.xml") + glob("config/*.rviz"))),
        (f"{SHARE}/config/robots", sorted(glob("config/robots/*.yaml"))),
        (f"{SHARE}/config/recipes", sorted(glob("config/recipes/*.yaml"))),
        (f"{SHARE}/urdf", sorted(glob("urdf/*.urdf") + glob("urdf/*.xacro"))),
    ]
    return [(target, files) for target, files in folders if files]


# Several of these need Python 3.11 in the pinned versions; the core and policytrim_ros run on 3.10 to 3.12.
REPORT = ["jinja2>=3.1", "matplotlib>=3.9", "pillow>=10"]
EXTRAS = {
    "train": [
        "torch>=2.6",
        "safetensors>=0.4",
        "stable-baselines3>=2.7",
        "sb3-contrib>=2.7",
        "tensorboard>=2.16",
        "tqdm>=4.66",
        "rich>=13",
        "pyyaml>=6",
        *REPORT,  # every run folder ends with a report.html
    ],
    "sim": [
        "mujoco==3.3.0",  # metaworld 3.1.1 pins it exactly; mujoco 4 breaks gymnasium-robotics
        "metaworld==3.1.1",
        "scipy>=1.14",
        "imageio>=2.34",
        "pillow>=10",
    ],
    "arm": [
        "mujoco==3.3.0",
        "pybullet==3.2.7",  # has no wheel for Python 3.12: pip compiles it there
        "pin>=3.7",
        "pin-pink>=3.4",
        "qpsolvers[daqp]>=4.7",
        "pyyaml>=6",
        "pillow>=10",
    ],
    "report": REPORT,
    # Only for a machine without a ROS distribution; on a robot these come with it. Jazzy set.
    "ros": [
        "ros-rclpy[fastrtps]==7.1.6",
        "ros-trajectory-msgs<5.4",
        "ros-sensor-msgs<5.4",
        "ros-std-srvs<5.4",
        "ros-std-msgs<5.4",
        "ros-diagnostic-msgs<5.4",
        "ros-geometry-msgs<5.4",
        "ros-test-msgs<2.1",
        "ros-lifecycle-msgs<2.1",
        "ros-rosgraph-msgs<2.1",
    ],
    "mcap": ["rosbags>=0.11"],  # recordings, with or without a ROS distribution
    "openpi": ["websockets>=15", "msgpack>=1.0.5"],
    "vla": [
        "torch>=2.6",
        "transformers>=5.23",  # its pi0 is one of the library's classes
        "peft>=0.18",
        "safetensors>=0.4",
        "pillow>=10",
        "pyyaml>=6",
    ],
    "dev": [
        "pytest>=8",
        "ruff>=0.12",
        "mypy>=1.15",
        "packaging>=24",
        "setuptools>=64",
        "xacro>=2.1",
        "yourdfpy>=0.0.56",
        "dm-tree>=0.1.8",  # what the official openpi-client imports; it comes without its dependencies (Makefile)
        "toppra>=0.6",  # what the tests compare the shortest duration of a motion with
    ],
}

setup(
    name="policytrim",
    version=read_version(),
    description="Fewer model calls and fewer steps for chunked robot policies, for Gymnasium and ROS 2",
    author="PolicyTrim maintainers",
    author_email="maintainers@policytrim.example",
    maintainer="PolicyTrim maintainers",
    maintainer_email="maintainers@policytrim.example",
    license="Apache-2.0",
    packages=find_packages(include=["policytrim_gym", "policytrim_gym.*", "policytrim_ros", "policytrim_ros.*"]),
    package_data={
        "policytrim_gym": ["py.typed"],
        "policytrim_gym.evaluation.report": ["*.j2"],
        "policytrim_gym.training": ["hyperparameters/*.yml"],
        "policytrim_ros": ["py.typed"],
        "policytrim_ros.recording": ["*.j2"],
    },
    data_files=share_files(),
    python_requires=">=3.10",
    install_requires=["numpy>=1.26", "gymnasium>=1.0"],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "policytrim = policytrim_gym.cli.main:main",
            "monitor_node = policytrim_ros.nodes.monitor_node:main",
            "policy_node = policytrim_ros.nodes.policy_node:main",
            "sim_arm_node = policytrim_ros.nodes.sim_arm_node:main",
        ]
    },
    zip_safe=False,
)
