package shop;

import org.springframework.web.bind.annotation.*;

@RestController
@RequestMapping("/api/orders")
public class Orders {
    // @GetMapping("/in/a/comment")
    @GetMapping
    public List<Order> all() { return List.of(); }

    @GetMapping("/{id}")
    public Order one(@PathVariable long id) { return null; }

    @PostMapping(path = "/{id}/lines", consumes = "application/json")
    public Order add(@PathVariable long id) { return null; }

    @RequestMapping(value = "/{id:[0-9]+}/state", method = RequestMethod.PUT)
    public void state() {}

    @DeleteMapping({"/{id}", "/gone/{id}"})
    public void remove() {}
}
