"""Stands in for the package of a ROS distribution, which no registry of Python packages has."""
