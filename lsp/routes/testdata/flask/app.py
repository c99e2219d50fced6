"""The shop.

@app.route("/in/a/docstring")
"""
from flask import Blueprint, Flask

app = Flask(__name__)
orders = Blueprint("orders", __name__, url_prefix="/orders")


@app.route("/")
def home():
    return "hello"


@app.route("/items/<int:id>", methods=["GET", "POST"])
def item(id):  # @app.route("/in/a/comment")
    return str(id)


@orders.route("/<order>/lines/<path:rest>", methods=["DELETE"])
def line(order, rest):
    return ""


@orders.post("/")
def create():
    return ""


app.add_url_rule("/health", "health", lambda: "ok")
