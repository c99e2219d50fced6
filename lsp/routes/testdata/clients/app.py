import httpx, requests

requests.get(f"{BASE}/items/{item['id']}", timeout=3)
httpx.post("http://stock:8080/items", json={"a": [1, 2]})
session.delete(BASE + "/items/" + name)
settings = client.get("key")
