"""Pulling: studies that the node asks an archive for, by C-FIND and then C-MOVE or C-GET.

* ``query`` what is asked, and what an answer says; no network
* ``scu`` the Query/Retrieve SCU: one association a question
* ``fetching`` which studies are there, what of them is not here, and getting it
"""
