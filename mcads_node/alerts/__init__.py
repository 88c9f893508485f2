"""Telling an administrator without being asked: by the log, a webhook, e-mail.

``conditions`` says what is wrong now; ``bookkeeping`` what of that is to be told, and what was told already;
``webhook`` and ``email`` tell it; ``alerter`` puts them together, as a job of the clock.
"""
