"""The simulated arm behind its controllers, as plain Python.

The rule of this room: no rclpy and no message types, and nothing reads a clock. Time is the simulation's own [s].
"""
