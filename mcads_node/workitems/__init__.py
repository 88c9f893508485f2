"""The durable state of the node: what was received, what is to be done, what came of it, where it went.

`open_store` gives a `Workitems`, whose methods are one transaction each. The modules behind it:

* ``records``, ``outcomes``, ``overview`` the words; ``schema`` the tables; ``engine`` transactions and what
  errors mean
* ``receiving``, ``queue``, ``failing``, ``completing``, ``deliveries``, ``studies``, ``retracting`` the
  transactions
* ``store`` puts them together
"""

from mcads_node.workitems.outcomes import (
    Deferred,
    Delivery,
    DeliveryState,
    DestinationTrouble,
    Outcome,
    Refused,
    Stored,
)
from mcads_node.workitems.overview import (
    DeliveryRecord,
    Event,
    InstanceRecord,
    ResultRecord,
    Retried,
    StudyLine,
    StudyRecord,
    WorkRecord,
)
from mcads_node.workitems.records import (
    AnalysedImage,
    InstanceAnalysed,
    InstanceDeclined,
    InstanceState,
    Kind,
    LostLease,
    Receipt,
    StoredResult,
    StudyForReport,
    Workitem,
    WorkPolicy,
    WorkState,
)
from mcads_node.workitems.retracting import REJECTION_NOTE, Retractable, Retraction
from mcads_node.workitems.store import Workitems, now_utc, open_store

__all__ = [
    "REJECTION_NOTE",
    "AnalysedImage",
    "Deferred",
    "Delivery",
    "DeliveryRecord",
    "DeliveryState",
    "DestinationTrouble",
    "Event",
    "InstanceAnalysed",
    "InstanceDeclined",
    "InstanceRecord",
    "InstanceState",
    "Kind",
    "LostLease",
    "Outcome",
    "Receipt",
    "Refused",
    "ResultRecord",
    "Retractable",
    "Retraction",
    "Retried",
    "Stored",
    "StoredResult",
    "StudyForReport",
    "StudyLine",
    "StudyRecord",
    "WorkPolicy",
    "WorkRecord",
    "WorkState",
    "Workitem",
    "Workitems",
    "now_utc",
    "open_store",
]
