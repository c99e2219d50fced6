const express = require('express')
const app = express()
const router = express.Router()

// app.get('/in/a/comment', h)
app.get('/', (req, res) => res.send('it is http://here'))
app.get('/items/:id', one)
app.all('/any', any)
router.post('/orders', auth, create)
router.route('/orders/:order').get(show).put(change)
app.use('/api', router)
app.get('env') // a setting
