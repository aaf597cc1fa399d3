"""Engines, and the Ray that they run in.

A Ray that is started here listens on the loopback interface, as it does on other systems than
Linux. Ray reads this variable when it is first imported, so it is set before: by an import of this
package. To join a cluster it makes no difference.
"""

import os

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
