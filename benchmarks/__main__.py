"""`make bench`: the speed of each stage on this machine, beside what the field uses for it."""

import os
import platform
import sys

from benchmarks import audit, copies, crawl, hosts, inference, ingest, labelling, rehash, search, training


def main() -> None:
    """Run what is named on the command line, or everything."""
    parts = {
        "audit": audit.run,
        "copies": copies.run,
        "crawl": crawl.run,
        "hosts": hosts.run,
        "inference": inference.run,
        "ingest": ingest.run,
        "labelling": labelling.run,
        "rehash": rehash.run,
        "search": search.run,
        "training": training.run,
    }
    wanted = sys.argv[1:] or list(parts)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in wanted:
        print(f"\n{name}")
        for line in parts[name]():
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
