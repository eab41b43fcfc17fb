"""A test that never ends says where it waits, and fails."""

import faulthandler

faulthandler.dump_traceback_later(900, exit=True)
