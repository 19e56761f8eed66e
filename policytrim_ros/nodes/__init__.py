"""The nodes: they declare, wire and tear down; what they decide stands in `policytrim_ros.control` and `policytrim_ros.sim`.

The rule of this room: nothing imports it, and it alone, with `policytrim_ros.messages` and `policytrim_ros.parameters`, knows ROS.
"""
