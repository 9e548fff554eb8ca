"""A difference over new seeds and new test examples at once."""

from math import sqrt

from scipy import special


def crossed_p(
    difference: float, *, seeds_error: float, freedom: float, examples_error: float
) -> float:
    """Test a difference between runs of a few seeds on one test split: Clark, 1973, "min F′".

    The luck of the seeds and the luck of the test split add up, so that a difference beyond
    either of them may be within their sum: with 20 seeds and errors of equal size, 13% of null
    differences pass a test over seeds and one over examples, both at 5%. This is the t-test of
    the summed error, √(seeds² + examples²), with degrees of freedom by Satterthwaite (1946),
    those of the examples taken as infinite. With very few seeds that approximation is lenient,
    so it joins the other two tests and does not replace them.

    Args:
        difference: the observed one.
        seeds_error: its standard error over seeds, from 0.
        freedom: the degrees of freedom of ``seeds_error``, above 0.
        examples_error: its standard error over test examples, from 0.

    Returns:
        The two-sided p-value; if both errors are 0, 1 for a difference of 0 and else 0.
    """
    variance = seeds_error**2 + examples_error**2
    if variance == 0:
        return 1.0 if difference == 0 else 0.0
    statistic = -abs(difference) / sqrt(variance)
    if not seeds_error:
        return 2 * float(special.ndtr(statistic))
    return 2 * float(special.stdtr(freedom * (variance / seeds_error**2) ** 2, statistic))
