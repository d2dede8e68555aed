"""How the room `modelfile` is called."""

from bad_values import Call, Choice, Number, Place, Seed

from neurodecorr import modelfile

MODEL = modelfile.load_model("digits")
CREDIT, FORM, RATE = Choice("bp"), Choice("feedforward"), Number(1e-3, above=0, none=True)

EXEMPT = {
    "modelfile.Model": "made by `load_model`",
    "modelfile.model_names": "takes no arguments",
}

CALLS = [
    Call("modelfile.load_model", modelfile.load_model, {"name": Place("digits")}),
    Call("modelfile.model_file", modelfile.model_file, {"name": Choice("digits")}),
    Call(
        "modelfile.Model.varied",
        MODEL.varied,
        {"recipe": Choice("plain", none=True), "lateral_feedback": Choice("none", none=True)},
    ),
    Call("modelfile.Model.decorrelation", MODEL.decorrelation, {"credit": CREDIT, "form": FORM, "rate": RATE}),
    Call(
        "modelfile.Model.network",
        MODEL.network,
        {
            "credit": CREDIT,
            "form": FORM,
            "seed": Seed(0),
            "decorrelation_rate": RATE,
            "dtype": Choice("float32"),
        },
    ),
    Call("modelfile.Model.rule", MODEL.rule, {"credit": CREDIT}),
    Call("modelfile.Model.optimiser", MODEL.optimiser, {"credit": CREDIT, "form": FORM, "rate": RATE}),
    Call("modelfile.Model.rates", MODEL.rates, {"credit": CREDIT}),
]
