"""`make ros-demo`: episodes of a base and a trimmed policy through ROS 2, beside the same episodes in Gymnasium.

Sim arm, policy and monitor are processes of their own over real DDS; nothing here is needed to run them on a robot.
"""
