"""The geometry of the console's pictures."""

from __future__ import annotations

from controlplane.console.charts import Sample, load_chart, spark


def chart(*samples):
    return load_chart(
        [Sample(ago, calls) for ago, calls in samples],
        capacity=20,
        hold_above_ppm=800_000,
        resume_below_ppm=640_000,
        silence=45,
    )


def test_load_chart__after_a_silence__breaks_the_line():
    assert len(chart((300, 4), (290, 5), (100, 5), (90, 6)).lines) == 2
    assert len(chart((120, 4), (90, 5), (60, 5)).lines) == 1


def test_load_chart__of_nothing__has_no_line_and_keeps_its_marks():
    empty = chart()

    assert empty.lines == ()
    assert empty.capacity_y < empty.hold_y < empty.resume_y < empty.zero_y


def test_load_chart__with_more_load_than_capacity__stays_inside():
    over = chart((10, 60), (5, 60))

    assert all(0 <= y <= over.height for _, y in over.dots)


def test_spark__of_one_value__is_no_line():
    assert spark([3]) is None
    line = spark([0, 0, 5])
    assert line is not None
    assert line.last_y < 6
