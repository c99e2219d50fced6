// The part of the editor's API that the tested modules take at run time. Everything else is tested in a real editor (internal/e2e).
export class Disposable {
	constructor(readonly dispose: () => void) {}
}
