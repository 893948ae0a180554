// A line between the browser and the control plane that can be cut or fall
// silent: the browser's own offline switch leaves an open stream as it is.
import net from 'node:net';

export class Line {
  /** @type {Set<net.Socket>} */ #sockets = new Set();
  #cut = false;
  #silent = false;
  #server;

  /** @param {URL} target where it leads */
  constructor(target) {
    this.#server = net.createServer((near) => {
      if (this.#cut) {
        near.resetAndDestroy();
        return;
      }
      const far = net.connect(Number(target.port), target.hostname);
      near.pipe(far);
      far.pipe(near);
      for (const [one, other] of [[near, far], [far, near]]) {
        this.#sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        if (this.#silent) one.pause();
      }
    });
  }

  /** @returns {Promise<string>} the origin that the browser is to use */
  async open() {
    await new Promise((done) => { this.#server.listen(0, '127.0.0.1', () => done(undefined)); });
    return `http://127.0.0.1:${/** @type {net.AddressInfo} */ (this.#server.address()).port}`;
  }

  /** Breaks every connection and refuses new ones, until mend. */
  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Lets nothing through, in either direction, and tells nobody, until mend. */
  fallSilent() {
    this.#silent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  mend() {
    this.#cut = this.#silent = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async close() {
    this.cut();
    await new Promise((done) => { this.#server.close(done); });
  }
}
