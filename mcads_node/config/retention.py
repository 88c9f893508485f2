"""``retention``: how long files are kept once nothing is owed of their study."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcads_node.config.vocabulary import Section

_Days = Annotated[int, Field(ge=0, le=36_500)] | None


class RetentionSection(Section):
    """Days after everything that was due of a study is delivered; null: for ever."""

    images_days: _Days = 7
    results_days: _Days = 30
    declined_days: _Days = 30
