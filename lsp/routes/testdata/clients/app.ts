const a = await fetch(`${base}/items/${id}?full=1`);
const b = await fetch("http://stock:8080/items", { method: "POST", body: JSON.stringify({ a, b }) });
const c = await axios.delete(base + "/items/" + id);
const d = await fetch(url);
