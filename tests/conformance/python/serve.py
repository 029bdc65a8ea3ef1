"""A worker: serve.py NAME SLOTS EVIDENCE-DIR main|narrow|upset"""

import sys
from pathlib import Path

from evidence import Recorder
from reports import watch_reports


def main() -> None:
    import snippet
    from promised import Declared

    name, slots, directory, group = sys.argv[1:]
    declared = Declared(snippet.hatchet, Recorder(Path(directory), name))
    snippet.hatchet.worker(name, slots=int(slots), workflows=declared.groups()[group]).start()


# The SDK sends its reports from a second process, which imports this file again.
if __name__ == "__mp_main__":
    watch_reports(Recorder(Path(sys.argv[3]), sys.argv[1]))

if __name__ == "__main__":
    main()
