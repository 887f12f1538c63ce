"""Pictures of learning curves."""

from pathlib import Path

from matplotlib.image import imread

from rasa_hybrid.evaluation.curves import draw_curves


def test_what_is_far_apart_is_left_out_of_a_second_panel(tmp_path: Path) -> None:
    rows = [
        {"run": run, "seed": seed, "dialogues": dialogues, "success_rate": rate}
        for run, rate in (("SL+RL", 0.9), ("RL", 0.0))
        for seed in (0, 1)
        for dialogues in (0, 100)
    ]
    widths = {}
    for name, apart in (
        ("one", ()),
        ("two", ("RL",)),
        ("nobody", ("other",)),
        ("all", ("RL", "SL+RL")),
    ):
        path = tmp_path / f"{name}.png"
        draw_curves(path, rows, ("success_rate",), "run", apart=apart)
        widths[name] = imread(path).shape[1]
    assert widths["two"] > 1.9 * widths["one"]
    assert widths["nobody"] == widths["all"] == widths["one"]
