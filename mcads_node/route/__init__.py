"""Route: which rule of ``routes.yaml`` an image falls under, and what is then to be done with it.

``values`` says what an image and its association answer to a rule, ``matching`` whether a rule's conditions
hold, ``route`` what follows.
"""

from mcads_node.route.route import Route, matching, route, route_by

__all__ = ["Route", "matching", "route", "route_by"]
