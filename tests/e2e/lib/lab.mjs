// What all tests share: the server, two Chromium and a Firefox, and the ways into a call.

import { Chromium, Firefox } from "./browsers.mjs";
import { Link } from "./network.mjs";
import { Server } from "./server.mjs";

/** Who is who: the number in the barcode and the tone. Far enough apart that no codec confuses them. */
export const PRACTITIONER = { id: 11, hz: 600 };
export const PATIENT = { id: 22, hz: 1000 };
export const COMPANION = { id: 33, hz: 1500 };

class Lab {
  async open({ firefox = true } = {}) {
    [this.server, this.link, this.a, this.b, this.c] = await Promise.all([
      Server.start(),
      Link.open(),
      Chromium.launch("a"),
      Chromium.launch("b"),
      firefox ? Firefox.launch() : null,
    ]);
  }

  async close() {
    await Promise.allSettled([this.a?.close(), this.b?.close(), this.c?.close()]);
    this.link?.close();
    await this.server?.stop();
  }

  /** A seat whose page is closed with the test `t`. */
  async seat(t, browser, options) {
    const seat = await browser.seat(options);
    t.after(() => seat.close());
    return seat;
  }

  /**
   * A practitioner (namespace a) and a patient (namespace b, behind the link) in a call. The patient was admitted once
   * from the waiting room, by the clinic.
   */
  async call(t, { practitioner = {}, patient = {}, language = "en", codec = null } = {}) {
    const booked = await this.server.book(
      [{ role: "practitioner", display_name: "Dr Ada Martin" }, { role: "patient", display_name: "Noé Petit" }],
      language,
    );
    const doctor = await this.seat(t, this.a, { devices: { ...PRACTITIONER, ...practitioner }, codec });
    const person = await this.seat(t, this.b, { devices: { ...PATIENT, ...patient }, codec });
    await Promise.all([doctor.enter(booked.practitioner.link), person.enter(booked.patient.link)]);
    await this.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/admit`);
    await Promise.all([doctor.phase("in_call"), person.phase("in_call")]);
    const ids = { practitioner: await doctor.seatId(), patient: await person.seatId() };
    return { consultation: booked.id, booked, practitioner: doctor, patient: person, ids };
  }
}

export const lab = new Lab();
