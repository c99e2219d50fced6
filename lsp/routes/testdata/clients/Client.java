class Client {
  Item item(String id) { return rest.getForObject(base + "/items/" + id, Item.class); }
  void add(Item i) { web.post().uri("http://stock:8080/items").bodyValue(i); }
}
