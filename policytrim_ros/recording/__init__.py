"""Recordings of what went over the topics: written by monitor_node, read by `policytrim report`.

The rule of this room: MCAP files in the layout of rosbag2, through rosbags, which is plain Python. Nothing here needs ROS.
"""
