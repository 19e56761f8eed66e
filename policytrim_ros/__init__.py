"""PolicyTrim for ROS 2: runs trimmed chunks on an arm, gated and monitored.

Imports go one way, from the last to the first:

- `policytrim_ros.control`: what decides (executor, gate, watchdog, trajectories, execution monitor). Plain Python; imports only the
  core and the robot room of `policytrim_gym`, never rclpy.
- `policytrim_ros.sim`: the arm of `policytrim_gym.envs.arm` behind joint trajectory controllers. Plain Python as well.
- `policytrim_ros.messages` and `policytrim_ros.parameters`: between messages and arrays, between parameters and typed config.
- `policytrim_ros.nodes`: thin nodes that declare, wire and tear down; nothing is decided there.

Importing this package, `control` and `sim` needs no ROS installation.
"""

from policytrim_gym.version import __version__ as __version__
