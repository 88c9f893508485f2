"""Route: which rule of ``routes.yaml`` an image falls under, and what is then to be done with it.

``values`` says what an image and its association answer to a rule, ``matching`` whether a rule's conditions
hold and why, ``route`` what follows. Whoever explains a decision asks `judge`, by which it is made.
"""

from mcads_node.route.matching import Outcome, Term
from mcads_node.route.route import Judgement, Route, judge, route, route_by, verdict
from mcads_node.route.values import Subject, read_subject

__all__ = [
    "Judgement",
    "Outcome",
    "Route",
    "Subject",
    "Term",
    "judge",
    "read_subject",
    "route",
    "route_by",
    "verdict",
]
