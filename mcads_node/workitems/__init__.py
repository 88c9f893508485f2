"""The durable state of the node: what was received, what is to be done, what came of it, where it went.

`open_store` gives a `Workitems`, whose methods are one transaction each. The modules behind it:

* ``records``, ``outcomes``, ``overview`` the words; ``schema`` the tables; ``engine`` transactions and what
  errors mean
* ``receiving``, ``queue``, ``failing``, ``completing``, ``deliveries``, ``destinations``, ``commitment``,
  ``undelivered``, ``studies``, ``retracting``, ``moving``, ``reanalysing``, ``hours`` the transactions;
  ``completeness`` says when a study is complete, ``patients`` whose it is, ``settled`` when nothing is left
  to be done for it; ``planning``, ``extent`` and ``outgoing`` what several of them share
* ``ruling`` which rules were used, and what they can be tried on
* ``backlog``, ``alerting``, ``watching``, ``chronicle``, ``drifting`` what is told of all this
* ``listening`` how a process hears of new work, ``stewardship`` which one does what is done once for all
* ``store`` puts them together
"""

from mcads_node.workitems.alerting import AlertEntry
from mcads_node.workitems.backlog import Backlog, DeadLetters, Queue, Stuck
from mcads_node.workitems.chronicle import EventLine
from mcads_node.workitems.copying import Snapshot, database_is_empty, load_dump
from mcads_node.workitems.drifting import ScoredImage, Span
from mcads_node.workitems.lease_watch import LeaseWatch
from mcads_node.workitems.listening import DELIVERIES, WORK, Listener
from mcads_node.workitems.moving import HeldInstance, Released
from mcads_node.workitems.outcomes import (
    CommitmentOutcome,
    CommitmentReport,
    CommitmentRequest,
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
    QuarantinedWork,
    ResultRecord,
    Retried,
    StudyLine,
    StudyRecord,
    WorkRecord,
)
from mcads_node.workitems.reanalysing import Reanalysis, Wish
from mcads_node.workitems.records import (
    AnalysedImage,
    Handling,
    InstanceAnalysed,
    InstanceDeclined,
    InstanceState,
    Kind,
    Lease,
    LostLease,
    Purpose,
    Receipt,
    ShadowWish,
    StoredResult,
    StudyForReport,
    Workitem,
    WorkPolicy,
    WorkState,
)
from mcads_node.workitems.retention import FileKind
from mcads_node.workitems.retracting import REJECTION_NOTE, Retractable, Retraction
from mcads_node.workitems.ruling import KEPT, RELOADED, Answered, RulesVersion, TriedInstance
from mcads_node.workitems.stewardship import Stewardship
from mcads_node.workitems.store import Workitems, now_utc, open_store
from mcads_node.workitems.turned_away import TurnedAway, TurnedAwayRecord
from mcads_node.workitems.undelivered import DeadLetter, DestinationLine

__all__ = [
    "DELIVERIES",
    "KEPT",
    "REJECTION_NOTE",
    "RELOADED",
    "WORK",
    "AlertEntry",
    "AnalysedImage",
    "Answered",
    "Backlog",
    "CommitmentOutcome",
    "CommitmentReport",
    "CommitmentRequest",
    "DeadLetter",
    "DeadLetters",
    "Deferred",
    "Delivery",
    "DeliveryRecord",
    "DeliveryState",
    "DestinationLine",
    "DestinationTrouble",
    "Event",
    "EventLine",
    "FileKind",
    "Handling",
    "HeldInstance",
    "InstanceAnalysed",
    "InstanceDeclined",
    "InstanceRecord",
    "InstanceState",
    "Kind",
    "Lease",
    "LeaseWatch",
    "Listener",
    "LostLease",
    "Outcome",
    "Purpose",
    "QuarantinedWork",
    "Queue",
    "Reanalysis",
    "Receipt",
    "Refused",
    "Released",
    "ResultRecord",
    "Retractable",
    "Retraction",
    "Retried",
    "RulesVersion",
    "ScoredImage",
    "ShadowWish",
    "Snapshot",
    "Span",
    "Stewardship",
    "Stored",
    "StoredResult",
    "Stuck",
    "StudyForReport",
    "StudyLine",
    "StudyRecord",
    "TriedInstance",
    "TurnedAway",
    "TurnedAwayRecord",
    "Wish",
    "WorkPolicy",
    "WorkRecord",
    "WorkState",
    "Workitem",
    "Workitems",
    "database_is_empty",
    "load_dump",
    "now_utc",
    "open_store",
]
