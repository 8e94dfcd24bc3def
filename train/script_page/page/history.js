// The script being edited: phases with ids, undo and redo. A state is never changed, only replaced.

const MAX_STATES = 500;

export class History {
  #states;
  #place = 0;
  #key = null;

  constructor(script) {
    this.#states = [withIds(script)];
  }

  get state() {
    return this.#states[this.#place];
  }

  get canUndo() {
    return this.#place > 0;
  }

  get canRedo() {
    return this.#place < this.#states.length - 1;
  }

  /** Replace the state. Successive changes with one key, e.g. letters of one text, are one step. */
  set(state, key = null) {
    if (key !== null && key === this.#key && !this.canRedo) this.#states[this.#place] = state;
    else {
      this.#states = [...this.#states.slice(0, this.#place + 1), state].slice(-MAX_STATES);
      this.#place = this.#states.length - 1;
    }
    this.#key = key;
  }

  /** Change some phases: `changes` are partial phases with phase_id. */
  change(changes, key = null) {
    const byId = new Map(changes.map((one) => [one.phase_id, one]));
    this.set({ ...this.state, phases: this.state.phases.map((one) => ({ ...one, ...byId.get(one.phase_id) })) }, key);
  }

  move(steps) {
    this.#place = Math.min(Math.max(0, this.#place + steps), this.#states.length - 1);
    this.#key = null;
  }
}

function withIds(script) {
  return { ...script, phases: script.phases.map((one) => ({ ...one, phase_id: newId() })) };
}

export const newId = () => crypto.randomUUID();

/** The script as the server reads it. */
export const asSaved = (state) => ({ ...state, phases: state.phases.map(({ phase_id: _, ...phase }) => phase) });
