"""PolicyTrim for ROS 2: runs trimmed chunks on an arm, gated and monitored.

It has three rooms, and imports go one way, from the last to the first:

- `policytrim_ros.control`: what decides (executor, gate, watchdog, trajectories, execution monitor). Plain Python; imports only the
  core of `policytrim_gym`, never rclpy.
- `policytrim_ros.conversions` and `policytrim_ros.parameters`: between messages and arrays, between YAML and typed config.
- `policytrim_ros.nodes`: thin nodes that declare, wire and tear down; nothing is decided there.

Importing this package, and `control`, needs no ROS installation.
"""

from policytrim_gym.version import __version__ as __version__
