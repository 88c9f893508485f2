"""What the node does by the clock."""

import os
import time
from pathlib import Path

from mcads_node.config import NodeConfig, NodeSection
from mcads_node.state import open_state
from mcads_node.tend import ORPHAN_AGE, Tender


def test_files_that_no_row_names_are_removed_when_they_are_old(tmp_path: Path) -> None:
    state = open_state(NodeConfig(node=NodeSection(data_dir=tmp_path)))
    old, fresh = state.results.write(b"old"), state.results.write(b"fresh")
    long_ago = time.time() - ORPHAN_AGE.total_seconds() - 60
    os.utime(state.results.locate(old.path), (long_ago, long_ago))
    Tender(state, lambda: None).remove_orphans()
    assert not state.results.locate(old.path).exists()
    assert state.results.read(fresh.path) == b"fresh"
    state.close()


def test_the_clock_starts_and_stops(tmp_path: Path) -> None:
    state = open_state(NodeConfig(node=NodeSection(data_dir=tmp_path)))
    tender = Tender(state, lambda: None, lease_check_seconds=0.05)
    tender.start()
    time.sleep(0.2)
    tender.stop()
    state.close()
