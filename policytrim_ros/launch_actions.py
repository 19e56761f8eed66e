"""Makes launch actions of a plan; needs launch and launch_ros, which come with a ROS distribution."""

from __future__ import annotations

import importlib
from typing import Any

from policytrim_ros.launch_plan import ARGUMENTS, PACKAGE, LaunchPlan, NodeStart, launch_plan

END_S = "15"
"""So long after Ctrl-C a node may brake the arm or close a recording before it is sent SIGTERM [s]; launch takes a text."""


def launch_description(name: str) -> Any:
    """Returns the launch description of a launch file.

    Args:
        name: of the file: "sim", "robot" or "monitor".

    Raises:
        ImportError: launch is not installed.
    """
    # By name: in a checkout the folder launch/ hides the package from tools that read imports.
    launch, actions = importlib.import_module("launch"), importlib.import_module("launch.actions")
    configuration = importlib.import_module("launch.substitutions").LaunchConfiguration
    declared = [
        actions.DeclareLaunchArgument(
            argument.name,
            description=argument.description,
            **({} if argument.default is None else {"default_value": argument.default}),
        )
        for argument in ARGUMENTS[name]
    ]

    def started(context: Any) -> list[Any]:
        given = {argument.name: configuration(argument.name).perform(context) for argument in ARGUMENTS[name]}
        return plan_actions(launch_plan(name, given))

    return launch.LaunchDescription([*declared, actions.OpaqueFunction(function=started)])


def plan_actions(plan: LaunchPlan) -> list[Any]:
    """Returns the launch actions of a plan, the environment first."""
    set_variable = importlib.import_module("launch.actions").SetEnvironmentVariable
    return [*(set_variable(name, value) for name, value in plan.environment.items()), *map(_node_action, plan.nodes)]


def _node_action(node: NodeStart) -> Any:
    actions = importlib.import_module("launch_ros.actions")
    value_of = importlib.import_module("launch_ros.parameter_descriptions").ParameterValue
    # With their types, so that launch does not read a text as YAML.
    parameters = {name: value_of(value, value_type=type(value)) for name, value in node.parameters.items()}
    return actions.Node(
        package=PACKAGE,
        executable=node.executable,
        name=node.executable,
        output="screen",
        parameters=[*map(str, node.parameter_files), parameters],
        remappings=list(node.remappings),
        sigterm_timeout=END_S,
    )
