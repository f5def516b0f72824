"""The store. All tables are declared once this package is imported, so that ``Base.metadata`` is never half of them."""

from edgefleet_controller.db import access_tables as access_tables
from edgefleet_controller.db import engine_tables as engine_tables
