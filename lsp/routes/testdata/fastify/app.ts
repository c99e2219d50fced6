import Fastify from 'fastify'

const fastify = Fastify({ logger: true })

fastify.get('/items/:id', async (request, reply) => ({}))
fastify.post<{ Body: Item }>('/typed', handler)
fastify.route({
  method: ['POST', 'PUT'],
  url: '/orders/:id',
  handler: change,
})
fastify.delete("/files/*", remove)
