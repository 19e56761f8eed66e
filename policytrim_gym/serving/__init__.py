"""Offers a policy to clients on other machines."""
