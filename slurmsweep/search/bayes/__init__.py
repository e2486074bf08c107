"""Search that learns from results (``method: bayes``): a Gaussian process and the expected improvement.

numpy is needed here and nowhere else: the extra ``slurmsweep[bayes]``. :func:`propose` is a pure function; it reads
and writes nothing, so it runs outside of any lock, and can be made again to explain a point.

On a machine with many cores numpy's BLAS starts a thread for each when numpy is imported, which these small matrices
do not need: a caller sets ``OPENBLAS_NUM_THREADS=1`` (and ``MKL_NUM_THREADS=1``) in the environment before the import.
"""

from slurmsweep.search.bayes.encoding import Space
from slurmsweep.search.bayes.propose import KnownTrial as Observation
from slurmsweep.search.bayes.propose import Proposal, Proposals, Why, propose

__all__ = ["Observation", "Proposal", "Proposals", "Space", "Why", "propose"]
