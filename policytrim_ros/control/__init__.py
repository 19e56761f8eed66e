"""The decisions of the ROS side, as plain Python.

The rule of this room: no rclpy and no message types, and nothing reads a clock. Whoever calls passes the time in seconds, so that
every rule about age, timeout and order can be tested with a fake clock, to the nanosecond and without waiting.
"""
