"""The command line, with 127.1.0.0/16 for the public internet: so the guard's work can be seen on loopback."""

import ipaddress

from curate.cli.main import main
from curate.crawl import guard

_PUBLIC = ipaddress.ip_network("127.1.0.0/16")

if __name__ == "__main__":
    guard.is_public = lambda address: address in _PUBLIC
    main()
