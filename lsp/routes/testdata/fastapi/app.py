from fastapi import APIRouter, FastAPI

app = FastAPI()
router = APIRouter(prefix="/users", tags=["users"])


@app.get("/")
async def home():
    return {}


@router.get(
    "/{user_id}",
    response_model=User,
)
async def user(user_id: int):
    return {}


@router.api_route("/{user_id}/roles", methods=["PUT", "PATCH"])
async def roles(user_id: int):
    return {}


@app.get("/files/{path:path}")
async def files(path: str):
    return {}
