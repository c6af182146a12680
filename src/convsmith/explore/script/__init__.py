r"""Lines of PyTorch, read for their shapes: nothing is imported and nothing is run.

>>> from convsmith.explore.script import read_script
>>> [row.shape for row in read_script("x = torch.rand(3, 8, 8)\ny = x.unsqueeze(0)")]
[(3, 8, 8), (1, 3, 8, 8)]
"""

from convsmith.explore.script.interpreter import MOST_CODE, read_script
from convsmith.explore.script.rows import Row
from convsmith.explore.script.table import EXAMPLE, script_panel, script_rows

__all__ = ["EXAMPLE", "MOST_CODE", "Row", "read_script", "script_panel", "script_rows"]
