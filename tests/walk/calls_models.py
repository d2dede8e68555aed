"""How the room `modelfile` is called."""

from bad_values import Call, Choice, Number, Place, Seed

from neurodecorr import models

MODEL = models.load_model("digits")
CREDIT, FORM, RATE = Choice("bp"), Choice("feedforward"), Number(1e-3, above=0, none=True)

EXEMPT = {
    "models.Model": "made by `load_model`",
    "models.model_names": "takes no arguments",
}

CALLS = [
    Call("models.load_model", models.load_model, {"name": Place("digits")}),
    Call("models.model_file", models.model_file, {"name": Choice("digits")}),
    Call(
        "models.Model.varied",
        MODEL.varied,
        {"recipe": Choice("plain", none=True), "lateral_feedback": Choice("none", none=True)},
    ),
    Call("models.Model.decorrelation", MODEL.decorrelation, {"credit": CREDIT, "form": FORM, "rate": RATE}),
    Call(
        "models.Model.network",
        MODEL.network,
        {
            "credit": CREDIT,
            "form": FORM,
            "seed": Seed(0),
            "decorrelation_rate": RATE,
            "dtype": Choice("float32"),
        },
    ),
    Call("models.Model.rule", MODEL.rule, {"credit": CREDIT}),
    Call("models.Model.optimiser", MODEL.optimiser, {"credit": CREDIT, "form": FORM, "rate": RATE}),
    Call("models.Model.rates", MODEL.rates, {"credit": CREDIT}),
]
