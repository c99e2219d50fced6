-- Opens a check file as Neovim's users do (docs/editors.md), waits for the squiggle of the failing check, asks for hover and
-- code lenses, and writes what it saw to DEVLOOP_SEEN.
local seen = {}
vim.o.swapfile = false
vim.cmd('edit stock.netcheck.yaml')
local client = vim.lsp.start_client({ name = 'devloop', cmd = { vim.env.DEVLOOP, 'lsp' }, root_dir = vim.fn.getcwd() })
vim.lsp.buf_attach_client(0, client)
vim.wait(20000, function() return #vim.diagnostic.get(0) > 0 end, 20)
for _, d in ipairs(vim.diagnostic.get(0)) do
  table.insert(seen, 'diagnostic ' .. d.lnum .. ' ' .. d.message)
end
local function ask(method, params)
  local answers = vim.lsp.buf_request_sync(0, method, params, 20000) or {}
  for _, answer in pairs(answers) do return answer.result end
end
local document = { uri = vim.uri_from_bufnr(0) }
local hover = ask('textDocument/hover', { textDocument = document, position = { line = 6, character = 13 } })
table.insert(seen, 'hover ' .. (hover and hover.contents.value or ''))
for _, lens in ipairs(ask('textDocument/codeLens', { textDocument = document }) or {}) do
  table.insert(seen, 'lens ' .. lens.command.title)
end
vim.fn.writefile(vim.split(table.concat(seen, '\n'), '\n'), vim.env.DEVLOOP_SEEN)
vim.lsp.stop_client(client)
vim.cmd('qa!')
