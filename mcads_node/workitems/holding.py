"""The part of `Workitems` that speaks of images that name another patient, each method one transaction."""

from __future__ import annotations

from mcads_node.workitems import moving
from mcads_node.workitems.again import again
from mcads_node.workitems.moving import HeldInstance, Released
from mcads_node.workitems.transactions import Transactions


class Holding(Transactions):
    """What is held, and what a person decides about it."""

    def list_held(self, limit: int = 50) -> list[HeldInstance]:
        """Images of all studies that name another patient than their study, by study."""
        with self._read() as tx:
            return moving.list_held(tx, limit)

    @again
    def release_held(
        self,
        which: str | int,
        *,
        new_patient: bool,
        image: int | None = None,
        keep_results: bool = False,
        who: str = "administrator",
    ) -> Released:
        """Take held images of a study in, and have them analysed.

        Parameters
        ----------
        which
            UID or number of the study.
        new_patient
            The study is of the patient that they name from now on, and what was received of the one before
            counts no more; otherwise the patient is the same, by another ID.
        image
            Number of one held image; None: all that are held of the study.
        keep_results
            Let stand what was sent of the patient before.
        who
            Who decided.

        Raises
        ------
        PermanentError
            There is nothing of the sort; the images name several patients; or results were sent of the
            patient before, and `keep_results` is false.
        """
        with self._write() as tx:
            return moving.release(tx, which, image, who, new_patient=new_patient, keep=keep_results)

    @again
    def decline_held(
        self, which: str | int, reason: str, *, image: int | None = None, who: str = "administrator"
    ) -> int:
        """Decline held images of a study: they are not of it. Gives how many."""
        with self._write() as tx:
            return moving.decline(tx, which, image, reason, who)
